"""The playground: a page that writes with the models and shows how they think."""
