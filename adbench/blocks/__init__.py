"""Building blocks that several methods share: prompts, losses, fixed augmentations, memory banks, maps."""
