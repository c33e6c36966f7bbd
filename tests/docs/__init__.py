"""Tests of docs.generator, and of the site that it makes."""
