import Foundation

/// The Python environment that `.ci/install` creates: the S3 server, and boto3 as an S3 client independent of the hub.
public enum TestTools {
    public static let folder: String = {
        let environment = ProcessInfo.processInfo.environment
        return environment["FLOWHUB_TEST_TOOLS"] ?? (environment["HOME"] ?? "") + "/.cache/flowhub-tests"
    }()

    public static func program(_ name: String) throws -> String {
        let path = "\(self.folder)/bin/\(name)"
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw ChildProcess.Failure(description: "\(path) was not found. Run .ci/install.")
        }
        return path
    }

    /// Runs a Python program and waits for its exit.
    /// - Returns: its standard output, without the last line feed.
    /// - Throws: ``ChildProcess/Failure`` with its output if the exit code is not 0.
    public static func python(
        _ program: String, _ arguments: [String] = [], environment: [String: String] = [:]
    ) async throws -> String {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let process = try ChildProcess(
            try Self.program("python"), ["-c", program] + arguments, environment: environment, folder: folder.path)
        let exit: ChildProcess.Exit
        do {
            exit = try await process.waitForExit(within: .seconds(120))
        } catch {
            await process.destroy()
            throw error
        }
        guard exit == .code(0) else {
            throw ChildProcess.Failure(description: "python (\(exit)): \(process.errorOutput)\(process.output)")
        }
        return process.output.hasSuffix("\n") ? String(process.output.dropLast()) : process.output
    }

    /// Runs a Python program with boto3. The program can use the client `s3`, the bucket name `bucket`, and
    /// `refusal(call, …)`, which returns a call's error as text. The client does not retry, sends only required checksums, and
    /// does not wait for `100 Continue`, which R2 does not send.
    public static func boto3(_ endpoint: String, bucket: String, secret: String = S3Server.secretKey, _ program: String)
        async throws
        -> String
    {
        let client = """
            import boto3, sys
            from botocore.config import Config
            from botocore.handlers import add_expect_header
            bucket = sys.argv[2]
            s3 = boto3.client(
                "s3", endpoint_url=sys.argv[1], region_name="auto", aws_access_key_id=sys.argv[3],
                aws_secret_access_key=sys.argv[4],
                config=Config(
                    retries={"total_max_attempts": 1}, request_checksum_calculation="when_required",
                    response_checksum_validation="when_required", signature_version="s3v4", s3={"addressing_style": "path"}))
            s3.meta.events.unregister("before-call.s3", add_expect_header)
            def refusal(call, **arguments):
                try:
                    call(Bucket=bucket, **arguments)
                    return "nothing"
                except Exception as problem:
                    answer = getattr(problem, "response", None)
                    if not answer: return type(problem).__name__
                    return f"{answer['ResponseMetadata']['HTTPStatusCode']} {answer['Error']['Code']}"

            """
        return try await Self.python(client + program, [endpoint, bucket, S3Server.accessKey, secret])
    }
}
