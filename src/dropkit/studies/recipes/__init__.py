"""Fits for training loops that others wrote: Hugging Face's Trainer and Lightning."""
