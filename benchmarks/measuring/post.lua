-- wrk script: posts random bodies of one file with random keys of another; prints the results as one line of JSON.
-- Arguments: path, file of "device_id key" lines, file of bodies separated by the byte 0x1e, content type.
-- Each "$" in a body becomes a time in milliseconds since 1970, later for each request; it stays in the past as long as
-- there are fewer than 1,000 requests a second.

local keys, bodies, path, content_type, milliseconds = {}, {}, "", "", os.time() * 1000

function init(args)
  path, content_type = args[1], args[4]
  for line in io.lines(args[2]) do keys[#keys + 1] = line:match("%S+ (%S+)") end
  for body in io.open(args[3], "rb"):read("*a"):gmatch("[^\30]+") do bodies[#bodies + 1] = body end
  math.randomseed(os.time())
end

function request()
  local headers = { ["X-API-Key"] = keys[math.random(#keys)], ["Content-Type"] = content_type }
  local body = bodies[math.random(#bodies)]
  if body:find("$", 1, true) then
    milliseconds = milliseconds + 1
    body = body:gsub("%$", string.format("%.0f", milliseconds))
  end
  return wrk.format("POST", path, headers, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "refused": %d, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
