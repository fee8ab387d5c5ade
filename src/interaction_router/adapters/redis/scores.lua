-- Reads scores of a partition's sorted sets at one moment.
--
--   KEYS[1]   NS:{p}:applied; then the sorted sets
--   ARGV      for each sorted set: how many members, the members
--   returns   {applied, {score or nil of each member}}

local CHUNK = 4000
local applied = redis.call('GET', KEYS[1])
if applied == 'damaged' then
    return redis.error_reply('DAMAGED a write failed half way')
elseif applied == 'clearing' then
    return redis.error_reply('CLEARING the partition is being removed')
end
local scores, argument = {}, 0
for key = 2, #KEYS do
    argument = argument + 1
    local last_member = argument + tonumber(ARGV[argument])
    for first = argument + 1, last_member, CHUNK do
        local last = math.min(first + CHUNK - 1, last_member)
        for _, score in ipairs(redis.call('ZMSCORE', KEYS[key], unpack(ARGV, first, last))) do
            scores[#scores + 1] = score
        end
    end
    argument = last_member
end
return {applied or '-1', scores}
