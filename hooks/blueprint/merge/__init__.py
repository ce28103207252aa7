"""Three-way merging: of whole projects, of lines, and of TOML and settings by what they mean."""
