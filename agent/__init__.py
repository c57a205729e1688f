"""The LangGraph loop that turns a feature into a verdict, and the batch job over many features."""
