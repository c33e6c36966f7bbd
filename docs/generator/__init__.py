"""Makes the site: ``python -m docs.generator`` from the top of a checkout, or ``make docs``.

``tree`` puts pages where Sphinx finds them, as they lie in the checkout, so that links between them hold in both places;
``navigation`` says in which order; the other modules write the reference, from the code and the schemas.
"""
