"""Every place where dropout acts in a model: find them, and set their rates."""
