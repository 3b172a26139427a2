"""The Norwood–Hamilton stage of a head from up to five views: reading them, hiding faces, staging, the result."""
