"""Configuration: from `key=value` words and YAML files to typed configurations."""
