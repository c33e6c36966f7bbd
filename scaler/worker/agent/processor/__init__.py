"""The import path of the processor, as libraries written for OpenGRIS Scaler have it."""
