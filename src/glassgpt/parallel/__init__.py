"""Many processes that train one model: who they are, how the model is divided among them, what they tell each other."""
