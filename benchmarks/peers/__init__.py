"""Side by side with what people use today: each contender in a file, each run in a process of its own."""
