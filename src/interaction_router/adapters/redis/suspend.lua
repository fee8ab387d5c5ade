-- Lets nobody load or apply a partition until its shadow is put in its place: see docs/decisions/0008.
--
-- Keys, all of one slot:
--   NS:{p}:applied          'clearing' from now on
--   NS:{p}:shadow:applied   how far the shadow has to be, or nothing is done
--
--   KEYS[1], KEYS[2]   these two
--   ARGV[1]            how far the shadow is for the caller
--   returns            1, or 0 where nothing was done

if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], 'clearing')
return 1
