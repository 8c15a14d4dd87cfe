"""Fine-tune language models on small data, and measure what they memorized."""
