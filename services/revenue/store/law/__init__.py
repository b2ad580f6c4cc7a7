"""The stored versions of law: their texts, activations and reviews."""
