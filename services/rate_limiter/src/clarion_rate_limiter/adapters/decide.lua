-- Decides a batch of items of one app at one moment. The rules are those of domain.py.
--
-- KEYS     the limits' keys, each once
-- ARGV[1]  "take" or "look"
-- ARGV[2]  JSON: for each item a flat list of five numbers per limit: index into KEYS, algorithm (1 WINDOW, 2 GCRA),
--          limit, window in microseconds, burst
-- ARGV[3]  the items' ids, 16 bytes each
-- Answers one string: for each item "closed,retry_after" (closed 0: allowed, else the limit's place from 1) and, where it is
-- allowed, ",left" for each limit.

local WINDOW = 1

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local taking = ARGV[1] == 'take'
local answers = {}

local function whole(number)
    return string.format('%.0f', number)
end

local function window_state(key, id, limit, window)
    local since = now - window
    if taking then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(since))
    end
    local kept = redis.call('ZCARD', key)
    local count = kept
    if not taking and kept > 0 then
        count = redis.call('ZCOUNT', key, '(' .. whole(since), '+inf')
    end
    if count > 0 then
        local taken = redis.call('ZSCORE', key, id)
        if taken and tonumber(taken) > since then
            return 0, limit - count, false
        end
    end
    if count >= limit then
        local place = kept - limit
        local oldest = redis.call('ZRANGE', key, place, place, 'WITHSCORES')
        return tonumber(oldest[2]) + window - now, 0, false
    end
    return 0, limit - count, true
end

local function gcra_state(key, limit, window, burst)
    local level = 0
    local stored = redis.call('GET', key)
    if stored then
        local at, before = struct.unpack('>dd', stored)
        level = math.max(0, before - math.max(0, now - at) * limit)
    end
    local room = burst * window - level
    if room < window then
        return math.ceil((window - room) / limit), 0, level
    end
    return 0, math.floor(room / window), level
end

for number, item in ipairs(cjson.decode(ARGV[2])) do
    local id = string.sub(ARGV[3], number * 16 - 15, number * 16)
    local closed, retry_after = 0, 0
    local changes, lefts = {}, {}
    for at = 1, #item, 5 do
        local key, limit, window = KEYS[item[at]], item[at + 2], item[at + 3]
        local wait, left, change
        if item[at + 1] == WINDOW then
            wait, left, change = window_state(key, id, limit, window)
        else
            wait, left, change = gcra_state(key, limit, window, item[at + 4])
        end
        if wait > 0 then
            closed, retry_after, lefts = (at + 4) / 5, wait, {}
            break
        end
        changes[at] = change
        if taking and change then
            left = left - 1
        end
        lefts[#lefts + 1] = ',' .. whole(math.max(0, left))
    end
    if taking and closed == 0 then
        for at = 1, #item, 5 do
            local key, limit, window = KEYS[item[at]], item[at + 2], item[at + 3]
            if item[at + 1] ~= WINDOW then
                local level = changes[at] + window
                local drained_in = math.ceil(level / limit / 1000) + 1
                redis.call('SET', key, struct.pack('>dd', now, level), 'PX', whole(drained_in))
            elseif changes[at] then
                redis.call('ZADD', key, whole(now), id)
                redis.call('PEXPIRE', key, whole(math.ceil(window / 1000) + 1))
            end
        end
    end
    answers[number] = whole(closed) .. ',' .. whole(retry_after) .. table.concat(lefts)
end

return table.concat(answers, ' ')
