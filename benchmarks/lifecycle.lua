-- wrk's load: the life of a job over version 1 of the API, added, claimed and completed, in the queue "bench".
-- A connection sends whatever request is next, so that all three kinds are under way at any time.
local uids = {}
local turn = 0
-- wrk knows its Host only after this file is read.
local headers = {["Host"] = "localhost", ["X-Access-Key"] = "key", ["Content-Type"] = "application/json"}
local job = '{"priority":50,"keep_minutes":60,"timeout_minutes":10,'
  .. '"content":{"foo":"bar","n":12345,"path":"/data/in/file-000123.csv"}}'
-- Requests to add a job, to be sent in turn: one, or one for each group.
local additions = {}
local claim = wrk.format("GET", "/api/v1/job/next?queueName=bench&markQueued=true", headers)
local threads = {}

-- In this thread: how many jobs were claimed, and for how many of them a completion was requested.
claimed = 0
completed = 0

function setup(thread)
  threads[#threads + 1] = thread
end

local function addition(group)
  local body = '{"queue_name":"bench","job":{' .. group .. string.sub(job, 2) .. '}'
  return wrk.format("PUT", "/api/v1/job", headers, body)
end

function init(args)
  local groups = tonumber(args[1] or 0)
  for number = 0, groups - 1 do
    additions[number + 1] = addition('"group":"customer-' .. number .. '",')
  end
  if groups == 0 then
    additions[1] = addition("")
  end
end

function request()
  if #uids > 0 then
    completed = completed + 1
    local body = '{"queue_name":"bench","uid":"' .. table.remove(uids) .. '","new_status":"complete"}'
    return wrk.format("POST", "/api/v1/job", headers, body)
  end
  turn = turn + 1
  if turn % 2 == 0 then
    return claim
  end
  return additions[(turn - 1) / 2 % #additions + 1]
end

-- Only the answer to a claim is a 200 with a body: that to an addition is a 201.
function response(status, _, body)
  if status == 200 and #body > 2 then
    claimed = claimed + 1
    uids[#uids + 1] = string.match(body, '"uid":"([^"]+)"')
  end
end

function done(summary)
  local jobs, errors = 0, summary.errors
  for _, thread in ipairs(threads) do
    jobs = jobs + thread:get("completed")
  end
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests":%d,"jobs":%d,"failed":%d,"seconds":%f}\n', summary.requests, jobs, failed, summary.duration / 1e6))
end
