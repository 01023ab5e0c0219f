"""Image to image: what every restoration paper shares beyond its network."""
