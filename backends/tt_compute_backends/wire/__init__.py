"""The OpenAI-shaped wire: requests written, answers read; shared by every backend that speaks it."""
