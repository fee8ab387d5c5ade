-- The tables of one partition: read them at one moment, or write a batch into them if nobody else has.
--
-- Keys, all of one slot, and every one of them declared in KEYS: while a cluster moves a slot, that is what makes it
-- refuse (TRYAGAIN) to answer for keys that have not arrived yet.
--   NS:{p}:applied         string  the last log offset folded in; missing for none; or why they cannot be used:
--                                  'damaged' (a write failed half way), 'clearing' (they are being removed),
--                                  'restoring ...' (they are being filled with a snapshot: `adapters/standing.py`)
--   NS:{p}:<bucket>        string  a bucket that is one row
--   NS:{p}:<bucket>        hash    a bucket of rows by their fields
--   NS:{p}:scores:<name>   zset    members by their scores
--
-- load
--   KEYS[1]   applied; then the strings, the hashes to read fields of, the hashes to read whole
--   ARGV      'load', how many strings, how many hashes to read fields of; then for each of these: how many fields,
--             the fields
--   returns   {applied, {value or nil of each string}, {value or nil of each field}, {field, value, ...} of each whole}
--
-- apply
--   KEYS[1]   applied; then six lists of keys: to drop, strings to set, hashes to take fields from, hashes to put
--             fields in, sorted sets to take members from, sorted sets to put members in
--   ARGV      'apply', after, applied, the length of each of the six lists; then in the same order, nothing for what is
--             dropped, for each string its value, for each other key how many arguments, and they: the fields; field
--             and value by turns; the members; score and member by turns
--   returns   applied as it stands then; nothing is written unless it stood at `after`
--
-- empty
--   KEYS[1]   applied; then the keys to drop
--   ARGV      'empty', after
--   returns   '-1', or applied as it stands: nothing is dropped unless it stood at `after`

-- Lua's stack takes 8,000 values; even, so that pairs stay together.
local CHUNK = 4000

local function standing()
    local value = redis.call('GET', KEYS[1])
    if value == 'damaged' then
        return nil, redis.error_reply('DAMAGED a write failed half way')
    elseif value == 'clearing' then
        return nil, redis.error_reply('CLEARING the partition is being removed')
    end
    return value or '-1'
end

local function load()
    local applied, refusal = standing()
    if refusal then
        return refusal
    end
    local strings, hashes = tonumber(ARGV[2]), tonumber(ARGV[3])
    local values, fields, key, argument = {}, {}, 1, 3
    for first = key + 1, key + strings, CHUNK do
        local last = math.min(first + CHUNK - 1, key + strings)
        for _, value in ipairs(redis.call('MGET', unpack(KEYS, first, last))) do
            values[#values + 1] = value
        end
    end
    key = key + strings
    for _ = 1, hashes do
        key, argument = key + 1, argument + 1
        local last_field = argument + tonumber(ARGV[argument])
        for first = argument + 1, last_field, CHUNK do
            local last = math.min(first + CHUNK - 1, last_field)
            for _, value in ipairs(redis.call('HMGET', KEYS[key], unpack(ARGV, first, last))) do
                fields[#fields + 1] = value
            end
        end
        argument = last_field
    end
    local reply = {applied, values, fields}
    for whole = key + 1, #KEYS do
        reply[#reply + 1] = redis.call('HGETALL', KEYS[whole])
    end
    return reply
end

-- Whether this call has changed anything yet: from then on it has to end well, or say that it did not.
local written = false

local function write(...)
    local reply = redis.pcall(...)
    if type(reply) == 'table' and reply.err then
        error(reply, 0)
    end
    written = true
end

local function write_all()
    local key, argument = 1, 9
    for first = key + 1, key + tonumber(ARGV[4]), CHUNK do
        local last = math.min(first + CHUNK - 1, key + tonumber(ARGV[4]))
        write('UNLINK', unpack(KEYS, first, last))
    end
    key = key + tonumber(ARGV[4])
    local strings = tonumber(ARGV[5])
    local pairs_of_one_call, filled = {}, 0
    for number = 1, strings do
        pairs_of_one_call[filled + 1] = KEYS[key + number]
        pairs_of_one_call[filled + 2] = ARGV[argument + number]
        filled = filled + 2
        if filled == CHUNK or number == strings then
            write('MSET', unpack(pairs_of_one_call, 1, filled))
            filled = 0
        end
    end
    key, argument = key + strings, argument + strings
    for list, command in ipairs({'HDEL', 'HSET', 'ZREM', 'ZADD'}) do
        for _ = 1, tonumber(ARGV[5 + list]) do
            key, argument = key + 1, argument + 1
            local last_argument = argument + tonumber(ARGV[argument])
            for first = argument + 1, last_argument, CHUNK do
                local last = math.min(first + CHUNK - 1, last_argument)
                write(command, KEYS[key], unpack(ARGV, first, last))
            end
            argument = last_argument
        end
    end
    write('SET', KEYS[1], ARGV[3])
end

local function apply()
    local applied, refusal = standing()
    if refusal then
        return refusal
    end
    if applied ~= ARGV[2] then
        return applied
    end
    -- A full memory, a read-only replica and the like are told by the first write, before anything has changed. What
    -- can fail later (a key of another type, a missing permission) leaves half a batch, and nobody may read that.
    local done, failure = pcall(write_all)
    if done then
        return ARGV[3]
    end
    if written then
        redis.call('SET', KEYS[1], 'damaged')
    end
    return type(failure) == 'table' and failure or redis.error_reply(failure)
end

local function empty()
    local applied, refusal = standing()
    if refusal then
        return refusal
    end
    if applied ~= ARGV[2] then
        return applied
    end
    for first = 2, #KEYS, CHUNK do
        redis.call('UNLINK', unpack(KEYS, first, math.min(first + CHUNK - 1, #KEYS)))
    end
    redis.call('UNLINK', KEYS[1])
    return '-1'
end

if ARGV[1] == 'load' then
    return load()
elseif ARGV[1] == 'empty' then
    return empty()
end
return apply()
