"""Small students for distillation: what they are, and which one fits a model's signature."""
