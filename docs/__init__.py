"""The documentation: pages here, and in ``generator`` what makes a site of them."""
