import Testing

@testable import flowhub

@Suite struct ProcessUsageTests {
    @Test func parsesProcessNameWithBlanksAndParentheses() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10"
        let usage = ProcessUsage(stat: stat, status: "Name:\tx\nVmRSS:\t    1234 kB\n", ticksPerSecond: 100)
        #expect(usage?.cpuSeconds == 3)
        #expect(usage?.residentKiB == 1234)
    }
}
