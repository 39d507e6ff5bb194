"""The conformance kit: what every method must keep, checked on phantoms on the CPU (docs/your-own-method.md).

`subject.py` fits and scores a method in all the ways that the checks compare; `checks.py` holds the checks in order;
`examine.py` runs them.
"""
