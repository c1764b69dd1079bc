import FlowTestKit
import Testing

/// Tests of imports with one or several hubs. The nested suites share their servers.
@Suite(.serialized, .s3(), .postgres(), .redis()) struct ImportSystemTests {}
