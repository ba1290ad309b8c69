"""What nbgov decides by: pure functions of values, one module for each stage or concept."""
