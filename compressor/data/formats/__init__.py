"""The family of data formats: one file and one public function each, giving `Splits`."""
