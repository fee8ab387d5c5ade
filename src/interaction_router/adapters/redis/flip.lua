-- Puts a partition's shadow in the place of its tables, all at once: see docs/decisions/0008.
--
-- Keys, all of one slot:
--   NS:{p}:applied          'clearing', or nothing is done: the partition has to be suspended
--   NS:{p}:shadow:applied   how far the shadow is, or nothing is done
--
--   KEYS[1], KEYS[2]   these two; then the keys to drop; then by turns a key of the shadow and what it is called from now
--   ARGV[1]            how many keys to drop
--   returns            applied, or 'standing' or 'missing' where nothing was done
--
-- Neither UNLINK nor RENAME needs memory, so a full server can be mended. Should one fail all the same, the tables stay
-- suspended and the shadow is without `applied`, so that both are made from the beginning.

if redis.call('GET', KEYS[1]) ~= 'clearing' then
    return 'standing'
end
if redis.call('EXISTS', KEYS[2]) == 0 then
    return 'missing'
end
local applied = redis.call('GET', KEYS[2])
local flipping = KEYS[2] .. ':flipping'
redis.call('RENAME', KEYS[2], flipping)
local CHUNK = 4000
local dropped = 2 + tonumber(ARGV[1])
for first = 3, dropped, CHUNK do
    redis.call('UNLINK', unpack(KEYS, first, math.min(first + CHUNK - 1, dropped)))
end
for key = dropped + 1, #KEYS, 2 do
    redis.call('RENAME', KEYS[key], KEYS[key + 1])
end
redis.call('RENAME', flipping, KEYS[1])
return applied
