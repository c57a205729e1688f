"""From a label to the activations it predicts."""
