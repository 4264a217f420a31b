"""The client of userver's config service: what is asked, what an answer means, and when."""
