"""The log on Kafka: appending and reading, the Faust shell, and the topics."""
