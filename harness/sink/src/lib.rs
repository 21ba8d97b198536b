//! OTLP/gRPC and OTLP/HTTP receiver, span store and capture files.

