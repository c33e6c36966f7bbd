"""What runs in the environment of a system that is measured: the work, the measures, and one adapter for each system.

Nothing here imports Scaler, except the adapter of Scaler itself: OpenGRIS Scaler has the same name.
"""
