"""archive.recordings.locations is where recordings are kept: the places an operator names in locations.toml (`config`),
and one door to all of them (`store`) with two makings, a folder (`folder`) and an S3 server (`s3`)."""
