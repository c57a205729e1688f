"""The command line: parse, build objects, call one function, print."""
