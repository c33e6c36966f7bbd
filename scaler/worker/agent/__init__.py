"""Import paths that libraries written for OpenGRIS Scaler use."""
