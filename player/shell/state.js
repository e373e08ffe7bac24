// Owns the decision which state the viewer sees: a pure function of the facts, and the growing delays of a retry.
const RETRY_DELAYS_S = [1, 2, 4, 8, 15, 30];

export function retryDelayS(attempt) {
  return RETRY_DELAYS_S[Math.min(attempt, RETRY_DELAYS_S.length - 1)];
}

// facts: feed (state.json's state, "recording", or null while unknown), isWanted (play was pressed), isLoaded,
//        hasPlayed, isPaused, isStalled (no picture moves), isOver (the media reached its end), isSupported,
//        isCutOff (the server cannot be reached)
export function stateOf(facts) {
  if (!facts.isSupported) return 'unsupported';
  return facts.isLoaded ? stateOfLoaded(facts) : stateBeforeLoad(facts);
}

function stateBeforeLoad({ feed, isWanted, isCutOff }) {
  if (isCutOff) return 'retrying';
  if (feed === null) return 'checking';
  if (feed === 'offline') return 'before';
  if (feed === 'lost' || feed === 'ended') return feed;
  return isWanted ? 'starting' : 'ready';
}

function stateOfLoaded({ feed, hasPlayed, isPaused, isStalled, isOver, isCutOff }) {
  if (isOver) return 'ended';
  if (isPaused && hasPlayed) return 'paused';
  if (!isStalled) return 'playing';
  if (isCutOff) return 'retrying';
  if (feed === 'lost') return 'lost';
  if (feed === 'ended' || feed === 'offline') return 'ended';
  return hasPlayed ? 'buffering' : 'starting';
}
