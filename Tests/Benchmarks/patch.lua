-- State updates for wrk: each request patches one of FLOWS flows, chosen at random, with about 200 bytes.
local flows = tonumber(os.getenv("FLOWS") or "1000")
local filler = string.rep("a", 200)
local count = 0

wrk.method = "PATCH"
wrk.headers["Content-Type"] = "application/merge-patch+json"

function request()
   count = count + 1
   local body = '{"status":"running","n":' .. count .. ',"m":"' .. filler .. '"}'
   return wrk.format(nil, "/v1/flows/bench-" .. math.random(0, flows - 1) .. "/state", nil, body)
end

function done(summary, latency)
   local errors = summary.errors
   io.write(
      string.format(
         "acknowledged/s %.0f  mean %.2f ms  p50 %.2f ms  p99 %.2f ms  rejected or lost %d\n",
         summary.requests / (summary.duration / 1e6), latency.mean / 1000, latency:percentile(50) / 1000,
         latency:percentile(99) / 1000, errors.status + errors.read + errors.write + errors.timeout))
end
