"""The models under study: activations in one streaming pass over a corpus."""
