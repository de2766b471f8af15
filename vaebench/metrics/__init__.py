"""Built-in metrics: a file a subject, in it one factory a metric, which gives one accumulator a protocol."""
