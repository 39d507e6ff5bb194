"""Configuration: `key=value` words become typed configurations."""
