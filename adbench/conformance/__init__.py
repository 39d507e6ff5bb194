"""What every method must keep, examined on phantoms on the CPU: docs/your-own-method.md.

`subject.py` fits and scores a method in all the ways that the checks compare; `checks.py` holds the checks in order.
"""
