"""What every paper shares; knows no paper."""
