"""The page that the operator sees; static files without a build step."""
