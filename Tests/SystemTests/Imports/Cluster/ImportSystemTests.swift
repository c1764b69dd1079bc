import FlowTestKit
import Testing

/// Imports through a whole hub, or several. The suites within share their servers.
@Suite(.serialized, .s3(), .postgres(), .redis()) struct ImportSystemTests {}
