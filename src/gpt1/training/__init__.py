"""Training: one loop for pre-training and fine-tuning, with its optimizers and run folder."""
