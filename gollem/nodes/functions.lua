#!lua name=LIBRARY
-- What must happen at once in Redis. Integers only. Time is Redis's own, so that nodes' clocks do not matter, and every
-- function may be called again with the same arguments: a reply that was lost is had by the same call.

local REAPED_AT_ONCE = 1000
local KEPT_MS = 60000 -- how long an ask's last fence outlives its last lease
local MAX_KEPT_MS = 604800000

local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function now_ms()
  return math.floor(now_us() / 1000)
end

-- Lua's own way to write large numbers is with an exponent.
local function text(number)
  return string.format('%.0f', number)
end

-- A partition that is not there begins anew, at a moment that names its epoch.
local function head_of(head)
  local epoch, last = unpack(redis.call('HMGET', head, 'epoch', 'last'))
  if not epoch then
    epoch, last = text(now_us()), 0
    redis.call('HSET', head, 'epoch', epoch, 'last', last)
  end
  return epoch, tonumber(last)
end

-- keys: head. Returns the epoch, the number of the last batch, and which run of which server says so.
local function head(keys)
  local epoch, last = head_of(keys[1])
  return {epoch, last, string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''}
end

-- keys: head, asks, heard, changes, the sender's own. args: the sender's number of this batch, how long that is kept
-- (ms), how many batches are kept, the batch, then the snapshot's part of it: how many asks, each with its key and
-- state; how many reports, likewise; the keys of asks that are gone. A batch that has come before changes nothing.
local function publish(keys, args)
  local head, asks, heard, changes, sent = unpack(keys)
  local epoch, last = head_of(head)
  if tonumber(args[1]) <= tonumber(redis.call('GET', sent) or 0) then
    return {epoch, last}
  end
  local stamp = text(now_ms())
  local at = 5
  for _, hash in ipairs({asks, heard}) do
    local count = tonumber(args[at])
    for pair = at + 1, at + 2 * count, 2 do
      redis.call('HSET', hash, args[pair], stamp .. ' ' .. args[pair + 1])
    end
    at = at + 2 * count + 1
  end
  for gone = at, #args do
    redis.call('HDEL', asks, args[gone])
    redis.call('HDEL', heard, args[gone])
  end
  last = redis.call('HINCRBY', head, 'last', 1)
  redis.call('XADD', changes, 'MAXLEN', '~', args[3], epoch .. '-' .. text(last), 'at', stamp, 'batch', args[4])
  redis.call('SET', sent, args[1], 'PX', args[2])
  return {epoch, last}
end

-- keys: asks, heard. args: an age in milliseconds, then keys of asks. Those of which nothing younger is known go: nobody
-- sells them any more. Returns how many went.
local function purge(keys, args)
  local before, gone = now_ms() - tonumber(args[1]), 0
  for i = 2, #args do
    local newest = 0
    for _, hash in ipairs(keys) do
      local state = redis.call('HGET', hash, args[i])
      newest = math.max(newest, state and tonumber(string.match(state, '^%d+')) or 0)
    end
    if newest < before then
      redis.call('HDEL', keys[1], args[i])
      redis.call('HDEL', keys[2], args[i])
      gone = gone + 1
    end
  end
  return gone
end

-- Of an ask, `leases` has the tokens held in all, the last fence, and each order's 'fence tokens' under 'o:order';
-- `due` has its orders by the millisecond in which their lease runs out.
local function lease_of(leases, order)
  local lease = redis.call('HGET', leases, 'o:' .. order)
  if not lease then
    return nil
  end
  local fence, tokens = string.match(lease, '^(%d+) (%d+)$')
  return tonumber(fence), tonumber(tokens)
end

local function drop(leases, due, order)
  local _, tokens = lease_of(leases, order)
  redis.call('ZREM', due, order)
  if tokens then
    redis.call('HDEL', leases, 'o:' .. order)
    redis.call('HINCRBY', leases, 'tokens', text(0 - tokens))
  end
end

-- What has run out is nobody's: it goes before anything else is looked at, so much at a time that nobody waits long.
local function reap(leases, due, now)
  local ended = redis.call('ZRANGE', due, '-inf', text(now), 'BYSCORE', 'LIMIT', 0, REAPED_AT_ONCE)
  for _, order in ipairs(ended) do
    drop(leases, due, order)
  end
end

local function hold(leases, due, order, tokens, fence, now, lease_ms)
  drop(leases, due, order)
  redis.call('HSET', leases, 'o:' .. order, text(fence) .. ' ' .. text(tokens))
  redis.call('HINCRBY', leases, 'tokens', text(tokens))
  redis.call('ZADD', due, text(now + lease_ms), order)
  local last = tonumber(redis.call('HGET', leases, 'fence') or 0)
  redis.call('HSET', leases, 'fence', text(math.max(fence, last)))
  local kept_ms = math.min(math.max(redis.call('PTTL', leases), lease_ms + KEPT_MS), MAX_KEPT_MS)
  redis.call('PEXPIRE', leases, text(kept_ms))
  redis.call('PEXPIRE', due, text(kept_ms))
end

-- keys: leases, due. args: order, tokens, lease_ms, the ask's tokens and slots in all. Returns {1, fence}, or
-- {0, free tokens, free slots}. An order that has its lease gets the same answer, and its time begins again. A fence is
-- above every one before; the time is in it so that this holds when the last one is forgotten.
local function claim(keys, args)
  local leases, due, order = keys[1], keys[2], args[1]
  local tokens, lease_ms = tonumber(args[2]), tonumber(args[3])
  local us = now_us()
  local now = math.floor(us / 1000)
  reap(leases, due, now)
  local fence = lease_of(leases, order)
  if fence then
    redis.call('ZADD', due, 'GT', text(now + lease_ms), order)
    return {1, fence}
  end
  local used, last = unpack(redis.call('HMGET', leases, 'tokens', 'fence'))
  local free_tokens = tonumber(args[4]) - tonumber(used or 0)
  local free_slots = tonumber(args[5]) - redis.call('ZCARD', due)
  if free_tokens < tokens or free_slots < 1 then
    return {0, math.max(free_tokens, 0), math.max(free_slots, 0)}
  end
  fence = math.max(tonumber(last or 0) + 1, us)
  hold(leases, due, order, tokens, fence, now, lease_ms)
  return {1, fence}
end

-- keys: leases, due. args: order, fence, and how long its lease may still run (ms) or '' for however long: one that runs
-- longer was renewed by another node, which has committed the order. 0 if the order holds its capacity under another
-- fence or for longer, else 1.
local function release(keys, args)
  local now = now_ms()
  reap(keys[1], keys[2], now)
  local fence = lease_of(keys[1], args[1])
  if fence and fence ~= tonumber(args[2]) then
    return 0
  end
  local most_left, due = tonumber(args[3]), redis.call('ZSCORE', keys[2], args[1])
  if fence and most_left and due and tonumber(due) - now > most_left then
    return 0
  end
  drop(keys[1], keys[2], args[1])
  return 1
end

-- keys: leases, due. args: for each order its id, tokens, fence and lease_ms. Orders that are committed: they hold what
-- they hold whatever is free, for lease_ms from now at least. Returns how many do; one that holds under a higher fence
-- stays as it is and is not counted.
local function keep(keys, args)
  local leases, due, now, kept = keys[1], keys[2], now_ms(), 0
  reap(leases, due, now)
  for i = 1, #args, 4 do
    local order, fence = args[i], tonumber(args[i + 2])
    local held = lease_of(leases, order)
    if not held or held <= fence then
      local due_ms = tonumber(redis.call('ZSCORE', due, order) or 0)
      hold(leases, due, order, tonumber(args[i + 1]), fence, now, math.max(tonumber(args[i + 3]), due_ms - now))
      kept = kept + 1
    end
  end
  return kept
end

-- keys: nodes. args: a node's name, what it says of itself, the silence (ms) after which a node is forgotten. Returns
-- the time in microseconds.
local function beat(keys, args)
  local us = now_us()
  local now = math.floor(us / 1000)
  local nodes = redis.call('HGETALL', keys[1])
  for i = 1, #nodes, 2 do
    if now - tonumber(string.match(nodes[i + 1], '^%d+')) > tonumber(args[3]) then
      redis.call('HDEL', keys[1], nodes[i])
    end
  end
  redis.call('HSET', keys[1], args[1], text(now) .. ' ' .. args[2])
  return us
end

-- What gives room is allowed where there is no memory left.
local function register(name, callback, flags)
  redis.register_function({function_name = 'LIBRARY_' .. name, callback = callback, flags = flags})
end

register('head', head, {})
register('publish', publish, {})
register('purge', purge, {'allow-oom'})
register('claim', claim, {})
register('release', release, {'allow-oom'})
register('keep', keep, {})
register('beat', beat, {})
