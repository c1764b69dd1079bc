import Foundation

/// Scale of a test run: small by default, full with `FLOWHUB_TEST_FULL=1`.
public enum TestScale {
    public static let isFull = ProcessInfo.processInfo.environment["FLOWHUB_TEST_FULL"] == "1"

    public static func pick<Value>(_ small: Value, full: Value) -> Value { self.isFull ? full : small }
}
