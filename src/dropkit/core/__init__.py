"""The mask: a pure function of an address and an element's index, and the ways to draw it."""
