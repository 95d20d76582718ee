"""What stands around the plots: state, failure, list of runs, console, pictures, layers."""
